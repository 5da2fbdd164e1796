"""Which tags of books say what a reader did with the book instead of what the book is."""

from __future__ import annotations

import re

_BEHAVIOUR = re.compile(
    r"""
    \b(
      reads? | reading | reread | toread | tbr
    | owned | own | have | bought | buy | borrowed | library | wish | wishlist | want
    | favou?rites? | fave?s? | loved | recommend(ed)? | boyfriends?
    | my | shelf | shelves | bookshelf | shelfari | goodreads | default
    | kindle | nook | audible | audio | audiobooks? | ebooks? | e-books? | hardcover | paperback
    | dnf | abandoned | unfinished | finish(ed)? | completed | hold | gave | maybe | review(ed)? | skimmed
    | netgalley | challenge | bookclub | book-club | book-group
    | \d-?stars?                     # 5-stars; a rock-star is content
    | 20[0-2]\d(?!-releases)         # 2015-books; 2015-releases says when it came out
    )\b
    | ^(books|arcs?|cover-love|guilty-pleasures|made-me-cry)$
    """,
    re.VERBOSE,
)


def is_behaviour_shelf(tag: str) -> bool:
    """Says whether a tag is a shelf of behaviour: to-read, owned, favorites, kindle, read-in-2015, 5-stars, dnf...

    A tag is one when any of its words (between hyphens, blanks and underscores) is about reading, owning, liking,
    borrowing, formats or a reader's own shelves, when it names a year of reading or a number of stars, or is one of a
    few whole names. Such tags are feedback; as content they would leak it.
    """
    return _BEHAVIOUR.search(re.sub(r"[\s_]+", "-", tag.lower())) is not None
