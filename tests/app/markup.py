"""Text that a page or a figure must show as it is."""

MARKUP = '<b>x</b> <a href="javascript:alert(1)">c</a>'
