"""Lists of candidates and how they become one: what retrieval and a gateway that merges its shards share."""
