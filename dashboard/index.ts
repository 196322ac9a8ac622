/** The bundle of all widgets: Dashboard looks for `window['ui-nvr-x'].UINvrX` (package.json, "node-red-dashboard-2"). */
import './shared/theme.css';
import UINvrAlerts from './alerts/UINvrAlerts.vue';
import UINvrGrid from './grid/UINvrGrid.vue';
import UINvrSystem from './system/UINvrSystem.vue';
import UINvrTimeline from './timeline/UINvrTimeline.vue';

Object.assign(window, {
  'ui-nvr-grid': { UINvrGrid },
  'ui-nvr-timeline': { UINvrTimeline },
  'ui-nvr-alerts': { UINvrAlerts },
  'ui-nvr-system': { UINvrSystem },
});
