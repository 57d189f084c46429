// Draws the figures of a report one after the other, so that the page can be read meanwhile.
// Light and dark follow the reader's system.
(() => {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const looks = JSON.parse(document.getElementById('looks').textContent);
  const plots = [...document.querySelectorAll('.plot')];
  const look = () => looks[dark.matches ? 'dark' : 'light'];
  const touch = matchMedia('(pointer: coarse)').matches;      // there, a finger on a figure scrolls the page
  const settings = {
    responsive: true, displaylogo: false, showSendToCloud: false, modeBarButtonsToRemove: ['select2d', 'lasso2d', 'autoScale2d'],
  };

  async function draw() {
    for (const plot of plots) {
      const seen = JSON.parse(plot.nextElementSibling.textContent);
      if (Array.isArray(seen)) plot.film = seen;                              // one figure a moment; the last one first
      const {data, layout} = plot.film ? seen.at(-1) : seen;
      const flat = plot.closest('.many') && {displayModeBar: false};      // a picture, nothing to zoom
      await Plotly.newPlot(plot, data, {...layout, template: look(), ...(touch && {dragmode: false})},
                           {...settings, ...flat});
      await new Promise(next => setTimeout(next));
    }
    document.body.dataset.drawn = plots.length;
  }

  // The slider of a film shows all its figures at another moment; Play goes through them.
  function show(film, i) {
    const slider = film.querySelector('input');
    slider.value = i;
    film.querySelector('output').textContent = `epoch ${+JSON.parse(slider.dataset.epochs)[i].toFixed(1)}`;
    for (const plot of film.querySelectorAll('.plot')) if (plot.data) {
      const {data, layout} = plot.film[i];
      Plotly.react(plot, data, {...layout, template: look(), uirevision: 'film', ...(touch && {dragmode: false})});
    }
  }

  for (const film of document.querySelectorAll('.film')) {
    const slider = film.querySelector('input'), button = film.querySelector('button');
    let timer = null;
    const stop = () => { clearInterval(timer); timer = null; button.textContent = 'Play'; };
    slider.addEventListener('input', () => { stop(); show(film, +slider.value); });
    button.addEventListener('click', () => {
      if (timer) return stop();
      if (slider.value === slider.max) show(film, 0);
      button.textContent = 'Stop';
      timer = setInterval(() => +slider.value < +slider.max ? show(film, +slider.value + 1) : stop(), 600);
    });
  }

  dark.addEventListener('change', () => plots.forEach(plot => plot.data && Plotly.relayout(plot, {template: look()})));
  draw();
})();
