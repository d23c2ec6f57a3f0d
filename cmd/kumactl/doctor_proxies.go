package main

import (
	"context"
	"fmt"
	"time"

	"koguma/doctor"
	"koguma/policy"
)

// checkProxies is about who is away, and who refuses what it is sent.
func (m *meshDiagnosis) checkProxies(all []policy.DataplaneOverview) {
	name := m.about("proxies")
	var away, degraded, refusing []string
	for i := range all {
		o := &all[i]
		switch o.Status() {
		case policy.ProxyOffline:
			away = append(away, o.Name)
		case policy.ProxyDegraded:
			degraded = append(degraded, o.Name)
		}
		if subs := o.Insight.Subscriptions; len(subs) > 0 && o.Insight.Online() {
			if why := subs[len(subs)-1].Status.LastRejection; why != "" {
				refusing = append(refusing, fmt.Sprintf("%s (%s)", o.Name, why))
			}
		}
	}
	show := "kumactl inspect dataplanes --mesh " + m.mesh.Name
	if len(refusing) > 0 {
		m.add(doctor.Bad(name, "refuse what they are sent, and go on with what they have: %s", few(refusing)).
			Fix("a port that is taken, as a rule: kuma-dp doctor, there", show))
	}
	if len(away) > 0 {
		m.add(doctor.Doubt(name, "%d of %d are offline: %s", len(away), len(all), few(away)).
			Fix("kuma-dp doctor, with the flags of kuma-dp run, there",
				"or delete those that are gone: kumactl delete dataplane NAME --mesh "+m.mesh.Name))
	}
	if len(degraded) > 0 {
		m.add(doctor.Doubt(name, "have an inbound that is not ready, by their Dataplane: %s", few(degraded)).Fix(show))
	}
	if len(refusing)+len(away)+len(degraded) == 0 {
		m.add(doctor.Good(name, "%s, all online", countOf(len(all), "in all")))
	}
}

// overdueAfter is the part of its life, in percent, after which a certificate should have had a successor: renewal comes at 73
// at the latest.
const overdueAfter = 83

// checkCertificates is about the certificates of those that are online. Of the others nobody knows more than that they have
// none that is new.
func (m *meshDiagnosis) checkCertificates(all []policy.DataplaneOverview) {
	if m.mesh.Enabled() == nil {
		return
	}
	name := m.about("certificates")
	var none, ended, overdue []string
	online := 0
	for i := range all {
		o := &all[i]
		if !o.Insight.Online() {
			continue
		}
		online++
		c := o.Insight.MTLS
		switch {
		case c == nil:
			none = append(none, o.Name)
		case !m.now.Before(c.CertificateExpirationTime):
			ended = append(ended, o.Name)
		case m.now.After(dueBy(c)):
			overdue = append(overdue, fmt.Sprintf("%s (ends %s)", o.Name, doctor.Until(c.CertificateExpirationTime, m.now)))
		}
	}
	show := "kumactl inspect identity PROXY --mesh " + m.mesh.Name
	if len(none) > 0 {
		m.add(doctor.Bad(name, "have none, and reach nobody: %s", few(none)).Fix(show, "kumactl inspect dataplanes --mesh "+m.mesh.Name))
	}
	if len(ended) > 0 {
		m.add(doctor.Bad(name, "have ended: %s", few(ended)).Fix(show))
	}
	if len(overdue) > 0 {
		m.add(doctor.Bad(name, "should have been renewed: %s", few(overdue)).Fix(show))
	}
	if len(none)+len(ended)+len(overdue) == 0 {
		m.add(doctor.Good(name, "none is overdue (%s)", countOf(online, "online")))
	}
}

// dueBy is when a certificate should have had a successor at the latest.
func dueBy(c *policy.MTLSInsight) time.Time {
	begin := c.LastCertificateRegeneration
	return begin.Add(c.CertificateExpirationTime.Sub(begin) * overdueAfter / 100)
}

// checkDelivery is about proxies that have not taken yet what is in the store.
func (m *meshDiagnosis) checkDelivery(ctx context.Context) {
	name := m.about("delivery")
	d, err := m.cp.delivery(ctx, m.mesh.Name, m.version)
	if err != nil {
		m.add(doctor.Bad(name, "%v", err))
		return
	}
	var behind []string
	for _, p := range d.Pending {
		why := p.Reason
		if p.Refusal != "" {
			why += ": " + p.Refusal
		}
		behind = append(behind, fmt.Sprintf("%s (%s)", p.Proxy, why))
	}
	if len(behind) > 0 {
		m.add(doctor.Doubt(name, "have not taken yet what was written: %s", few(behind)).Fix("ask again in a moment"))
		return
	}
	m.add(doctor.Good(name, "all that are connected have what was written (%s)", countOf(d.Proxies, "connected")))
}
