"""Reading, checking, making and splitting data sets."""
