"""The names under which models read their inputs; training exports by them, serving feeds by them.

The user tower (LiteRT) maps ``history_vectors`` float32[1, 50, D] and ``history_mask`` float32[1, 50] to
``user_vector`` float32[1, D], L2-normalised, all zeros for an empty history. One that can explain itself also answers
``history_weights`` float32[1, 50], the part of each entry in the vector: 0 where padded, of sum 1.

A ranker (TensorFlow Serving, signature ``serving_default``) reads any of the names below, lists those it reads in
the manifest, and answers ``action_scores`` float32[N, A], probabilities in the order of the manifest's actions. The
user side has a first dimension of 1 and is encoded once; candidates have N.

A ranker that can explain itself has a second signature, ``history_effects``, of the same inputs. It answers
``history_effects`` float32[N, 50, A]: how much the log odds of each action fall when an entry of the history is left
out, all else being as it was; 0 where padded.

A ranker that holds the items' features itself has a third signature, which the manifest names with its inputs, those of
ROW_INPUTS. It answers the same ``action_scores`` as ``serving_default`` does for the features of these rows.
"""

HISTORY_VECTORS = "history_vectors"
USER_VECTOR = "user_vector"
HISTORY_WEIGHTS = "history_weights"

HISTORY_FEATURES = "history_features"
"""[1, 50, H], rows of the ranker's history table, in that table's dtype (float32 or float16)."""
HISTORY_MASK = "history_mask"
"""float32[1, 50], 1 where there is an entry."""
HISTORY_ACTIONS = "history_actions"
"""int32[1, 50], 1 + the position in the recorded actions, 0 when unknown or padded."""
HISTORY_VALUES = "history_values"
"""float32[1, 50], 0 when missing or padded."""
HISTORY_AGES_DAYS = "history_ages_days"
"""float32[1, 50], 0 when unknown or padded."""
CONTEXT = "context"
"""float32[1, 6], see twostage.features.context."""
CANDIDATE_FEATURES = "candidate_features"
"""[N, C], rows of the ranker's candidate table, in that table's dtype (float32 or float16)."""
RETRIEVAL_SCORES = "retrieval_scores"
"""float32[N], user vector · item vector."""

HISTORY_CODES = "history_codes"
"""int32[2, 50]: rows of the bundle's items, -1 where padded; then ``history_actions``."""
HISTORY_NUMBERS = "history_numbers"
"""float32[2, 50]: ``history_values``; then ``history_ages_days``."""
CANDIDATE_ROWS = "candidate_rows"
"""int32[N], rows of the bundle's items."""

ACTION_SCORES = "action_scores"
HISTORY_EFFECTS = "history_effects"
"""The name of the second signature and of its output alike."""
BY_ROW = "by_row"
"""The name that training gives to the signature that reads rows."""

RANKER_INPUTS = (
    HISTORY_FEATURES,
    HISTORY_MASK,
    HISTORY_ACTIONS,
    HISTORY_VALUES,
    HISTORY_AGES_DAYS,
    CONTEXT,
    CANDIDATE_FEATURES,
    RETRIEVAL_SCORES,
)

ROW_INPUTS = (HISTORY_CODES, HISTORY_NUMBERS, CONTEXT, CANDIDATE_ROWS, RETRIEVAL_SCORES)
"""Few and small: each input costs both processes its own parsing, whatever its size."""
