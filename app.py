"""The Streamlit app: `tltool app` runs this file."""

from tltool.ui.page import show_page

show_page()
