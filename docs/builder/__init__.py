"""What turns the pages under docs/ into a site: runs their code, checks their equations, quotes the library's source."""
