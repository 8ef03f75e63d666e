"""Assembling an evidence pack; `aios.evidence` checks one."""
