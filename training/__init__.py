"""Everything offline: data, features, towers, index, ranker, evaluation, bundle."""
