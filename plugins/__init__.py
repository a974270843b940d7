"""The built-in methods: one folder each, `plugins/<stage>/<method>/`, found the way any installed plugin is."""
