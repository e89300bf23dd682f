"""`rei demo`: a customer's story on real processes, told step by step and checked at each."""
