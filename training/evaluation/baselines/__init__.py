"""Models that a learned system has to beat, fitted in the same harness on the same split."""
