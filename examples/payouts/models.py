"""One recipe: logistic regression."""


def logistic(features, label, *, seed):
    """Fit a logistic regression; a category that it has not seen counts as none."""
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["by", "state"]),
        (StandardScaler(), ["log_amount", "at_night", "partner"]),
    )
    return make_pipeline(columns, LogisticRegression(random_state=seed)).fit(features, label)
