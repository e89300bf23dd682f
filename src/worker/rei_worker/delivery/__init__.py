"""Delivery: what is stored gets to the customer, apart from how it was made."""
