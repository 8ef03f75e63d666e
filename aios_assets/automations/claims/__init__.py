"""Triage of vehicle insurance claims: pay, block for investigation, or send to a person."""
