"""What people on call ask and do by hand, for the command, the bot and `kubectl rei` alike.

reports   the answers as values
queries   their SQL; reads only, may read whole tables, and is asked by people, not by clocks
service   what changes something: once for its operation id, with a row of the trail
money     amounts and names of operations as people give them
"""
