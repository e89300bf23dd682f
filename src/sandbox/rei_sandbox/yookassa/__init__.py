"""A stand-in for YooKassa: the API, the page on which the payer pays, and the notifications."""
