"""The offline-to-online contract: one published generation of everything that serving reads."""
