"""All that has state: files, the terminal, processes, pools; and the entry points. Nothing pure imports it."""
