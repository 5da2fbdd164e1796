"""Small data sets under their published file names."""

from __future__ import annotations

import gzip
from pathlib import Path

BOOKS = """\
book_id,goodreads_book_id,authors,original_publication_year,title,language_code,average_rating,ratings_count
1,11,Suzanne Collins,2008.0,"The Hunger Games (The Hunger Games, #1)",eng,4.34,4780653
2,12,"J.K. Rowling, Mary   GrandPré",1997.0,"Harry Potter and the Sorcerer's Stone (Harry Potter, #1)",,4.44,4602479
3,13,Homer,-720.0,The Odyssey,eng,3.73,670326
"""
RATINGS = "book_id,user_id,rating\n1,7,5\n2,7,3\n1,8,4\n1,7,2\n"
TO_READ = "user_id,book_id\n7,3\n8,3\n"
TAGS = "tag_id,tag_name\n5,to-read\n6,fantasy\n7,dystopia\n8,favorites\n9,rare\n"
BOOK_TAGS = (
    "tag_id,book_id,goodreads_book_id,count\n5,1,11,900\n6,1,11,150\n7,1,11,400\n8,2,12,300\n9,2,12,99\n6,2,12,100\n"
)

FILMS_DAT = "0076759::Star Wars: Episode IV (1977)::Action|Sci-Fi\n0000001::Untitled::\n"
FILM_RATINGS_DAT = "1::0076759::9::1365029107\n2::0000001::6::1376000000\n"

FILMS_CSV = """\
movieId,title,genres
1,Toy Story (1995),Animation|Comedy
10,"Heat, The (1995)",(no genres listed)
9,Alien,Horror
"""
FILM_RATINGS_CSV = (
    "userId,movieId,rating,timestamp\n1,1,4.0,100\n1,10,3.5,200\n1,9,5.0,200\n2,9,0.5,50\n2,1,4.5,60\n3,1,3,1\n"
)

RETAIL = """\
InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
1,85123a,LANTERN,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom
1,71053,HOLDER OLD,12,2010-12-01 08:26:00,3.39,17850.0,United Kingdom
C2,71053,HOLDER,-2,2010-12-02 08:26:00,3.39,17850.0,United Kingdom
3,POST,POSTAGE,1,2010-12-03 08:26:00,18.0,17850.0,France
4,71053,HOLDER,1,2011-11-09 00:00:00,3.39,12345,France
5,71053,HOLDER,1,2011-11-08 23:59:00,0.0,12345,France
6,71053,HOLDER,1,2011-11-10 00:00:00,3.39,,France
7,85123A,,1,2011-11-10 00:00:00,2.55,12345.0,France
8,71053,HOLDER,2,2011-11-10 00:00:00,3.39,12345.0,France
"""


def write_files(directory: Path, files: dict[str, str], *, gzipped: bool = False) -> Path:
    """Writes text files, optionally gzipped with ``.gz`` at the end of their names."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        content = text.encode("utf-8")
        if gzipped:
            (directory / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (directory / name).write_bytes(content)
    return directory


def goodbooks(**changes: str) -> dict[str, str]:
    """The files of a small goodbooks-10k; a change replaces the text of a file, e.g. ``ratings="..."``."""
    files = {"books": BOOKS, "ratings": RATINGS, "to_read": TO_READ, "tags": TAGS, "book_tags_min100": BOOK_TAGS}
    return {f"{name}.csv": text for name, text in (files | changes).items()}
