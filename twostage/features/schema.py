"""Which of a catalogue's columns are features, and of which kind."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FeatureSchema:
    """Names the content columns of a catalogue by kind.

    Only content belongs here: what is known of an item before anybody has acted on it. Averages of ratings,
    counts of ratings and counts of tags are feedback and leak what an evaluation holds out.

    Args:
        title: The column shown to people; also read as text.
        text: Free-text columns read by the text tower (the title belongs here too).
        categorical: Columns with one value of a small set.
        numeric: Columns with one number.
        multi_valued: Columns with a list of values, e.g. tags; read as text and kept as filterable attributes.
        image: The column with a fixed-size image embedding, or None.
    """

    title: str
    text: tuple[str, ...]
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    multi_valued: tuple[str, ...] = ()
    image: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column named, once, title first."""
        names = [self.title, *self.text, *self.categorical, *self.numeric, *self.multi_valued]
        if self.image is not None:
            names.append(self.image)
        return tuple(dict.fromkeys(names))
