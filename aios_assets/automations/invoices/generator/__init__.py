"""Invoices and receipts that look like real ones, with their truth: the embedded default data.

Every month is a pure function of year, month and seed. `vendors` says who sends them, `content`
what they say, `layouts` where it stands, `tricks` what is wrong with some, `rendering` what a
scan of them looks like, `months` which arrive when.
"""

from .months import arrivals, document, image, ledger, truth

__all__ = ["arrivals", "document", "image", "ledger", "truth"]
