"""Chaos: all of Rei as real processes under load, while everything around them breaks, then audited.

Proof, for whoever wants to trust Rei with money, that no kill, cut or lost answer makes a ruble
vanish or come twice. `rei chaos` runs it; see docs/chaos.md.
"""
