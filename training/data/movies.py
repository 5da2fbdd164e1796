"""The content of films as MovieLens and MovieTweetings publish it: a title with its year, and genres."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from training.data.assemble import build_catalogue
from training.data.dataset import Catalogue
from training.data.table_file import TableFile
from twostage.features.schema import FeatureSchema

SCHEMA = FeatureSchema(title="title", text=("title",), numeric=("year",), multi_valued=("genres",))

_TITLE_AND_YEAR = r"^(?P<title>.*?)\s*(?:\((?P<year>\d{4})(?:[-\x{2013}]\d{0,4})?\))?\s*$"


def read_films(file: TableFile, id_column: str) -> Catalogue:
    """Makes the catalogue: title without the year, year as a number, genres as a list.

    Raises:
        DataError: There is no film, or an id is empty, too long or not unique.
    """
    parts = [pc.extract_regex(part, _TITLE_AND_YEAR) for part in file.text("title").chunks]
    titles = pa.chunked_array([pc.struct_field(part, "title") for part in parts], pa.string())
    years = pa.chunked_array([pc.struct_field(part, "year") for part in parts], pa.string())
    # MovieLens writes one placeholder where there is no genre.
    genres = pc.if_else(pc.equal(file.table.column("genres"), "(no genres listed)"), "", file.table.column("genres"))
    known = TableFile(file.name, pa.table({"genres": genres}), file.sha256)
    columns = {
        "title": titles,
        "year": pc.if_else(pc.equal(years, ""), pa.scalar(None, pa.string()), years).cast(pa.float64()),
        "genres": known.lists("genres", "|"),
    }
    return build_catalogue(file, id_column, file.ids(id_column), columns, SCHEMA)
