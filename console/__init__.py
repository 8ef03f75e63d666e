"""The web page for reviewers, approvers, auditors and operators."""
