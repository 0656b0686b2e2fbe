"""The Streamlit app: `tltool app` and `streamlit run app.py` import it as a server, which runs it for every page."""

import streamlit as st

if __name__ == "__main__":
    from tltool.ui.page import show_page

    show_page()
else:
    from tltool.ui.uploads import breaking_off, routes

    app = st.App(__file__, routes=routes(), lifespan=breaking_off)
