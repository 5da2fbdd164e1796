"""The words that synthetic titles, tags and people are made of."""

from __future__ import annotations

GENRES: dict[str, tuple[str, ...]] = {
    "mystery": ("Clue", "Alibi", "Witness", "Verdict", "Cipher", "Locked Room"),
    "fantasy": ("Dragon", "Crown", "Sorceress", "Rune", "Oath", "Sword"),
    "science-fiction": ("Orbit", "Android", "Colony", "Signal", "Starship", "Paradox"),
    "romance": ("Kiss", "Promise", "Wedding", "Letter", "Heart", "Dance"),
    "history": ("Empire", "Siege", "Treaty", "Dynasty", "Revolution", "Chronicle"),
    "horror": ("Shadow", "Curse", "Grave", "Whisper", "Nightmare", "Asylum"),
    "travel": ("Road", "Caravan", "Voyage", "Compass", "Border", "Map"),
    "cooking": ("Kitchen", "Recipe", "Feast", "Spice", "Table", "Oven"),
    "biography": ("Life", "Diary", "Portrait", "Confession", "Memoir", "Youth"),
    "philosophy": ("Reason", "Virtue", "Doubt", "Freedom", "Mind", "Truth"),
    "thriller": ("Hunt", "Conspiracy", "Hostage", "Deadline", "Assassin", "Target"),
    "poetry": ("Song", "Elegy", "Verse", "Hymn", "Echo", "Lantern"),
}
"""Genre tag to the nouns of its titles."""

THEMES: dict[str, tuple[str, str]] = {
    "sea": ("Drowned", "Harbour"),
    "winter": ("Frozen", "Snow"),
    "city": ("Crowded", "Rooftop"),
    "forest": ("Green", "Woodland"),
    "war": ("Fallen", "Trench"),
    "family": ("Inherited", "Cradle"),
    "school": ("Studious", "Classroom"),
    "music": ("Silent", "Violin"),
    "animals": ("Wild", "Fox"),
    "desert": ("Burning", "Dune"),
    "ghosts": ("Haunted", "Phantom"),
    "machines": ("Clockwork", "Engine"),
    "islands": ("Distant", "Lagoon"),
    "mountains": ("Steep", "Summit"),
    "gardens": ("Blooming", "Orchard"),
    "trains": ("Midnight", "Railway"),
}
"""Theme tag to an adjective and a noun of its titles."""

MOODS = ("funny", "dark", "gentle", "fast-paced", "slow-burn", "hopeful", "bleak", "witty")
"""Tags that say nothing of taste: an honest catalogue has some."""

PLACES = ("Alder", "Brine", "Corran", "Dunmore", "Esk", "Farrow", "Galt", "Hollin", "Ister", "Juno", "Kell", "Lorne")

FIRST_NAMES = (
    "Ada", "Bruno", "Clara", "Davi", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Kaya", "Leon", "Mara", "Nils",
    "Olga", "Pablo", "Rana", "Sami", "Tove", "Uma", "Viktor", "Wanda", "Yara", "Zeno",
)  # fmt: skip

LAST_NAMES = (
    "Abara", "Berg", "Castel", "Dorn", "Eklund", "Ferro", "Gruber", "Haddad", "Ito", "Jansen", "Kovac", "Lind",
    "Moreau", "Novak", "Okafor", "Petrov", "Quist", "Rossi", "Silva", "Tanaka", "Ulrich", "Varga", "Weiss", "Zhang",
)  # fmt: skip
