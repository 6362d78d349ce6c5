"""Stand-ins for what lies outside our processes, each made at its wire."""
