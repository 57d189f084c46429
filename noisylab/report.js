// Draws the figures of a report one after the other, so that the page can be read meanwhile.
// Light and dark follow the reader's system.
(() => {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const looks = JSON.parse(document.getElementById('looks').textContent);
  const plots = [...document.querySelectorAll('.plot')];
  const look = () => looks[dark.matches ? 'dark' : 'light'];
  const touch = matchMedia('(pointer: coarse)').matches;      // there, a finger on a figure scrolls the page
  const settings = {
    responsive: true, displaylogo: false, modeBarButtonsToRemove: ['select2d', 'lasso2d', 'autoScale2d'],
  };

  async function draw() {
    for (const plot of plots) {
      const {data, layout} = JSON.parse(plot.nextElementSibling.textContent);
      const flat = plot.closest('.many') && {displayModeBar: false};      // a picture, nothing to zoom
      await Plotly.newPlot(plot, data, {...layout, template: look(), ...(touch && {dragmode: false})},
                           {...settings, ...flat});
      await new Promise(next => setTimeout(next));
    }
    document.body.dataset.drawn = plots.length;
  }

  dark.addEventListener('change', () => plots.forEach(plot => plot.data && Plotly.relayout(plot, {template: look()})));
  draw();
})();
