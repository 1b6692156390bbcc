"""Public data sets: from their official places to files that training reads."""
