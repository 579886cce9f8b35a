"""Networks for tables: which there are, what a search of theirs starts from, how it spends its time, what predicts."""
