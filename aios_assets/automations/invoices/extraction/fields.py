"""The fields that are read, and what is printed beside them."""

from __future__ import annotations

import re

KEY_FIELDS = ("company", "date", "address", "total")
FIELDS = (*KEY_FIELDS, "number", "due_date", "tax", "currency", "iban")

# Words printed beside a value, in English, German, French and Malay.
LABELS = {
    "total": r"TOTAL|AMOUNT DUE|BALANCE DUE|TO PAY|PAYABLE|GESAMT|SUMME|ZAHLBETRAG|BRUTTO"
    r"|MONTANT|NET [AÀ] PAYER|TTC|JUMLAH|GRAND|INCL",
    "subtotal": r"SUB\s?-?TOTAL|NETTO(?!Y)|ZWISCHENSUMME|SOUS|HORS TAXE|\bHT\b|EXCL|BEFORE TAX"
    r"|TAXABLE",
    "tax": r"\bTAX\b|\bVAT\b|\bGST\b|\bSST\b|MWST|UST\b|STEUER|\bTVA\b|CUKAI",
    "paid": r"\bCASH\b|TENDER|CHANGE|VISA|MASTER|CARD|\bPAID\b|BAR\b|GEGEBEN|R[ÜU]CKGELD"
    r"|TUNAI|BAKI",
    "rounding": r"ROUND|RUNDUNG|ARRONDI",
    "discount": r"DISC|RABATT|REMISE|DISKAUN|SAVED",
    "quantity": r"\bQTY\b|\bITEMS?\b|QUANTIT|MENGE|ANZAHL",
    "date": r"DATE|DATUM|TARIKH|DATED|ISSUED",
    "due_date": r"\bDUE\b|F[ÄA]LLIG|ZAHLBAR BIS|[ÉE]CH[ÉE]ANCE|PAY BY|PAYABLE BY",
    "number": r"\bINV|INVOICE|RECHNUNG|FACTURE|RECEIPT|\bBILL\b|DOC|\bNO\b|\bNR\b|#|N°|BELEG",
    "iban": r"IBAN|ACCOUNT|KONTO|COMPTE|AKAUN|BANK",
    "currency": r"CURRENCY|W[ÄA]HRUNG|DEVISE|MATA WANG",
}
PATTERNS = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in LABELS.items()}
