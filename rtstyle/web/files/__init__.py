"""Files on the page: visitors upload clips and pictures, which are stylized one after another, and download them."""
