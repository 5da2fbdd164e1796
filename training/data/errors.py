"""What is raised when a data set cannot be read."""

from __future__ import annotations


class DataError(Exception):
    """A data set that is refused, with the place to look at.

    Rows are counted as a person counts them in the file: in text files by line, the header being line 1; in Parquet
    files by record, the first being row 1.

    Args:
        file: The file's name, or a directory's when a whole file is missing.
        row: The line or record, or None when the trouble is not in one row.
        column: The column's name or the key of a YAML file, or None when the trouble is not in one column.
        message: What was expected and what came.
    """

    def __init__(self, file: str, row: int | None, column: str | None, message: str) -> None:
        self.file = file
        self.row = row
        self.column = column
        self.message = message
        super().__init__(str(self))

    def __str__(self) -> str:
        """One line: file, row, column, message."""
        place = [self.file]
        if self.row is not None:
            place.append(f"{'row' if self.file.endswith('.parquet') else 'line'} {self.row}")
        if self.column is not None:
            place.append(f"{'key' if self.file.endswith(('.yaml', '.yml')) else 'column'} {self.column}")
        return f"{', '.join(place)}: {self.message}"
