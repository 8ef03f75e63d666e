"""`aios new`: a complete automation folder from a CSV or Parquet table.

What the table shows is written down as a declaration that a person can read and correct. Where
the data leave a doubt the contract stays open: a later row must not be quarantined for being new.
"""

from aios_assets.scaffold.folder import scaffold

__all__ = ["scaffold"]
