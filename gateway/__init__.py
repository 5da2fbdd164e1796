"""The gateway: asks retrieval for candidates, ranking for their order, and answers whatever happens to either."""
