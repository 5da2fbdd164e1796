"""Ranking measured alone: what each family of rankers costs, and what it costs to do without user ids."""
