"""Model versions in MLflow: registration, the champion and its history, gates and cards."""
