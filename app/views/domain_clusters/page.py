"""Do texts of one domain travel together?"""

import streamlit as st

from app import sidecars
from app.jobs import beside
from app.views.domain_clusters import brush_panels, link, point_map
from app.views.domain_clusters.chosen import chosen, marked
from app.views.domain_clusters.colours import OF, OF_A_LAYER, colours_parcel
from app.views.domain_clusters.first_look import map_or_first_look
from app.views.domain_clusters.labels import labels
from app.views.domain_clusters.map_points import all_points
from app.views.domain_clusters.panels import METHOD, of_all_points
from app.views.domain_clusters.parcels import chosen_parcel, points_parcel
from app.views.domain_clusters.points import clusters_answer
from app.views.shared import controls, layer_chooser, limits, needs, selecting
from app.views.shared.drawing import draw, draw_menu
from app.views.shared.trace_choice import trace_page

USES = ("layer", "experts", "domains", "groups", "phase", "texts", "tokens")

trace = trace_page("Do texts of one domain travel together?", uses=USES)
needs.tokens(trace, "which texts travel together")
job = beside.project(trace)
with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
    what = controls.choice("Points", list(sidecars.MAPS), key="points")
    by = link.colour_of(OF[what])
    layer_id = layer_chooser.layer_of(trace) if by in OF_A_LAYER else 0
    clusters = st.container(width=120)
map_or_look = map_or_first_look(trace, what, job)
points = all_points(trace, what, map_or_look)
with clusters:
    cluster = link.cluster_of(points)
area = link.area_of_link()
selection = selecting.current()
found = chosen(trace, points, selection, area=area, cluster=cluster)
answer = st.container(key="map_answer")
with st.container(key="map_and_brush"):
    left, right = st.columns([7, 3], gap="medium")
with left:
    clicked = point_map.draw(
        point_map.Shown(
            what=what,
            points=points_parcel(trace, points),
            colours=colours_parcel(trace, points, by, layer_id, controls.palette()),
            chosen=chosen_parcel(found.standing_out),
            labels=labels(trace, points),
            area=area,
            cluster=cluster,
            marked=marked(points, selection),
            neutral=controls.palette().neutral,
        ),
        on_area=link.choose_area,
        on_cluster=link.choose_cluster,
    )
    draw_menu(points.frame, name=f"map_of_{what}", chart=point_map.KEY, subject=trace)
    if 0 <= clicked < len(points):
        page, changes = link.target(points, clicked)
        selecting.go(page, **changes)
compared = found.compared
with answer:
    if compared is None:
        controls.answer(clusters_answer(what, points.parameters))
    else:
        controls.answer(brush_panels.answer(points, *compared))
with right:
    if compared is None:
        for panel in of_all_points(trace, points, by=by):
            draw(panel, subject=trace)
    else:
        brush_panels.draw_brush(trace, points, *compared, selection=selection)
limits.draw_sample(trace)
controls.method(*METHOD)
