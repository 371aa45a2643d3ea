"""The ground floor: nouns, errors, ids, clock, ports, plugins, the project file; stdlib and msgspec only."""
