"""Evaluation: scores of a predictor and learning curves; never imports training."""
