"""The only room that pairs names with things: networks, recipes, experiments, and their execution."""
