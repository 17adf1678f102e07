//! CONNECT and CONNACK (sections 3.1 and 3.2): what the client asks for, and what it gets.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use super::error::Violation;

use super::settings::Settings;
use super::will::Will;
use crate::packet::{ConnAck, ConnAckProperties, Connect, ProtocolVersion, QoS, ReasonCode};

/// An accepted CONNECT, kept until the session has arrived.
#[derive(Debug)]
pub struct ConnectRequest {
    pub version: ProtocolVersion,
    /// Empty until the driver assigns one.
    pub client_id: Arc<str>,
    pub clean_start: bool,
    pub user_name: Option<String>,
    pub password: Option<Vec<u8>>,
    pub authentication_method: Option<String>,
    pub authentication_data: Vec<u8>,
    /// Seconds, as asked for.
    pub keep_alive: u16,
    /// Seconds, as granted.
    pub session_expiry_interval: u32,
    pub(super) will: Option<Box<Will>>,
    pub(super) assigned: bool,
    pub(super) asked_session_expiry_interval: u32,
    pub(super) receive_maximum: NonZeroU16,
    pub(super) maximum_packet_size: u32,
    pub(super) topic_alias_maximum: u16,
    pub(super) request_response_information: bool,
    pub(super) bridge: bool,
}

impl ConnectRequest {
    pub(super) fn new(connect: &Connect<'_>, settings: &Settings) -> Self {
        let asked = match connect.version {
            ProtocolVersion::V5 => connect.properties.session_expiry_interval.unwrap_or(0),
            _ if connect.clean_start => 0,
            _ => settings.session_expiry_3x,
        };
        let properties = &connect.properties;
        ConnectRequest {
            version: connect.version,
            client_id: connect.client_id.into(),
            clean_start: connect.clean_start,
            user_name: connect.user_name.map(str::to_owned),
            password: connect.password.map(<[u8]>::to_vec),
            authentication_method: properties.authentication_method.map(str::to_owned),
            authentication_data: properties.authentication_data.unwrap_or_default().to_vec(),
            keep_alive: connect.keep_alive,
            session_expiry_interval: asked.min(settings.session_expiry_max),
            will: connect.will.as_ref().map(|will| Box::new(Will::new(will, &settings.mount_point))),
            assigned: false,
            asked_session_expiry_interval: asked,
            receive_maximum: properties.receive_maximum.unwrap_or(NonZeroU16::MAX).min(settings.inflight_max),
            maximum_packet_size: properties.maximum_packet_size.map_or(u32::MAX, NonZeroU32::get),
            topic_alias_maximum: properties.topic_alias_maximum.min(settings.topic_alias_maximum_outbound),
            request_response_information: properties.request_response_information,
            bridge: connect.bridge,
        }
    }

    /// Seconds that the broker will hold the client to: its own, or the listener's maximum.
    pub(super) fn granted_keep_alive(&self, settings: &Settings) -> u16 {
        let max = settings.keep_alive_max;
        let too_long = max != 0 && (self.keep_alive == 0 || self.keep_alive > max);
        // 3.x has no Server Keep Alive: such a client cannot be told, so it keeps what it asked for.
        if too_long && self.version == ProtocolVersion::V5 { max } else { self.keep_alive } // [MQTT-3.2.2-22]
    }
}

/// Judges a CONNECT by what the listener allows ([MQTT-3.1.4-2]).
pub(super) fn check(connect: &Connect<'_>, settings: &Settings) -> Result<(), Violation> {
    let refuse = |code, what: &'static str| Err(Violation::new(code, what));
    if !settings.protocol_versions.contains(&connect.version) {
        return refuse(ReasonCode::UnsupportedProtocolVersion, "this listener does not accept this protocol version");
    }
    check_client_id(connect)?;
    let Some(will) = &connect.will else { return Ok(()) };
    settings.mount_point.check(will.topic)?;
    if will.qos > settings.maximum_qos {
        return refuse(ReasonCode::QoSNotSupported, "the will's QoS is above the listener's maximum"); // [MQTT-3.2.2-12]
    }
    if will.retain && !settings.retain_available {
        return refuse(
            ReasonCode::RetainNotSupported,
            "the will is retained and the listener has no retained messages",
        ); // [MQTT-3.2.2-13]
    }
    let utf8_claimed = settings.check_payload_format && will.properties.payload_is_utf8;
    if utf8_claimed && std::str::from_utf8(will.payload).is_err() {
        return refuse(ReasonCode::PayloadFormatInvalid, "the will's payload is not the UTF-8 that it says it is");
    }
    Ok(())
}

fn check_client_id(connect: &Connect<'_>) -> Result<(), Violation> {
    let may_be_empty = match connect.version {
        ProtocolVersion::V3 => false,
        ProtocolVersion::V4 => connect.clean_start, // [MQTT-3.1.1 3.1.3-8]
        ProtocolVersion::V5 => true,                // [MQTT-3.1.3-6]
    };
    if connect.client_id.is_empty() && !may_be_empty {
        return Err(Violation::new(
            ReasonCode::ClientIdentifierNotValid, // [MQTT-3.1.3-8]
            "the client id is empty, which needs clean session and MQTT 3.1.1 or later",
        ));
    }
    Ok(())
}

/// What the successful CONNACK says.
pub(super) fn success<'a>(
    request: &'a ConnectRequest,
    settings: &'a Settings,
    session_present: bool,
    response_information: Option<&'a str>,
    authentication_data: Option<&'a [u8]>,
) -> ConnAck<'a> {
    let keep_alive = request.granted_keep_alive(settings);
    let expiry_changed = request.session_expiry_interval != request.asked_session_expiry_interval;
    let properties = ConnAckProperties {
        session_expiry_interval: expiry_changed.then_some(request.session_expiry_interval),
        receive_maximum: Some(settings.receive_maximum).filter(|maximum| *maximum != NonZeroU16::MAX),
        maximum_qos: Some(settings.maximum_qos).filter(|qos| *qos != QoS::ExactlyOnce), // [MQTT-3.2.2-9]
        retain_available: (!settings.retain_available).then_some(false),
        maximum_packet_size: settings.maximum_packet_size_property(),
        // [MQTT-3.1.3-7], [MQTT-3.2.2-16]
        assigned_client_identifier: request.assigned.then_some(&*request.client_id),
        topic_alias_maximum: Some(settings.topic_alias_maximum).filter(|maximum| *maximum != 0),
        server_keep_alive: Some(keep_alive).filter(|keep_alive| *keep_alive != request.keep_alive),
        response_information: response_information.filter(|_| request.request_response_information), // [MQTT-3.1.2-28]
        // [MQTT-4.12.0-5], [MQTT-4.12.0-6]
        authentication_method: request.authentication_method.as_deref(),
        authentication_data: authentication_data.filter(|_| request.authentication_method.is_some()),
        ..ConnAckProperties::default()
    };
    // MQTT 3.1 reserves the flag.
    let session_present = session_present && request.version != ProtocolVersion::V3;
    ConnAck { session_present, reason_code: ReasonCode::Success, properties }
}
