"""One module for each page: from the parameters of its address to what its template reads."""
