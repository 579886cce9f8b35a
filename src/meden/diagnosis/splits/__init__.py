"""Rules of honesty: on what fits, stops and scores, and on the curves of folds."""
