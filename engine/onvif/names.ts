/** Namespaces of ONVIF's services and of what they are built on (ONVIF Core Specification, section 5.3). */
export const NS = {
  soap: 'http://www.w3.org/2003/05/soap-envelope',
  schema: 'http://www.onvif.org/ver10/schema',
  device: 'http://www.onvif.org/ver10/device/wsdl',
  media: 'http://www.onvif.org/ver10/media/wsdl',
  media2: 'http://www.onvif.org/ver20/media/wsdl',
  ptz: 'http://www.onvif.org/ver20/ptz/wsdl',
  imaging: 'http://www.onvif.org/ver20/imaging/wsdl',
  events: 'http://www.onvif.org/ver10/events/wsdl',
  deviceIo: 'http://www.onvif.org/ver10/deviceIO/wsdl',
  error: 'http://www.onvif.org/ver10/error',
  topics: 'http://www.onvif.org/ver10/topics',
  network: 'http://www.onvif.org/ver10/network/wsdl',
  notification: 'http://docs.oasis-open.org/wsn/b-2',
  addressing: 'http://www.w3.org/2005/08/addressing',
  security: 'http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd',
  utility: 'http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd',
  discovery: 'http://schemas.xmlsoap.org/ws/2005/04/discovery',
  discoveryAddressing: 'http://schemas.xmlsoap.org/ws/2004/08/addressing',
} as const;

export const PASSWORD_DIGEST =
  'http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordDigest';

/** Coordinate spaces (ONVIF PTZ Service Specification, section 5.7). */
const TPTZ = 'http://www.onvif.org/ver10/tptz';
export const SPACE = {
  panTiltPosition: `${TPTZ}/PanTiltSpaces/PositionGenericSpace`,
  panTiltDegrees: `${TPTZ}/PanTiltSpaces/SphericalPositionSpaceDegrees`,
  zoomPosition: `${TPTZ}/ZoomSpaces/PositionGenericSpace`,
  panTiltTranslation: `${TPTZ}/PanTiltSpaces/TranslationGenericSpace`,
  panTiltTranslationDegrees: `${TPTZ}/PanTiltSpaces/SphericalTranslationSpaceDegrees`,
  zoomTranslation: `${TPTZ}/ZoomSpaces/TranslationGenericSpace`,
  panTiltVelocity: `${TPTZ}/PanTiltSpaces/VelocityGenericSpace`,
  zoomVelocity: `${TPTZ}/ZoomSpaces/VelocityGenericSpace`,
  panTiltSpeed: `${TPTZ}/PanTiltSpaces/GenericSpeedSpace`,
  zoomSpeed: `${TPTZ}/ZoomSpaces/ZoomGenericSpeedSpace`,
} as const;
