"""Publishing: the site, the files and the records of some runs, to a folder, to pages or to the hub."""
