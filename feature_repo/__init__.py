"""The Feast repo: declared feature views, their offline join and their online table."""
