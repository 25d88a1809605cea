"""Made-up programs before both verifiers: made, compared, shrunk, written down."""
