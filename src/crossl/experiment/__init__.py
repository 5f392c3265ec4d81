"""An experiment: pretraining and every contender on each fold, and what joins the folds."""
