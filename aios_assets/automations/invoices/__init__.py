"""Invoices and receipts: read, checked, and paid, blocked or given to a person."""
