package libvirtrpc

// Procedure is the number of a procedure within its program.
type Procedure int32

// LastProcedure is the last of [ProgramRemote]'s in libvirt 11.3. Those up to it that
// are not named here exist, and are not used here.
const LastProcedure Procedure = 453

// The procedures of [ProgramRemote] about the connection.
const (
	ConnectOpen              Procedure = 1
	ConnectClose             Procedure = 2
	ConnectGetType           Procedure = 3
	ConnectGetVersion        Procedure = 4
	ConnectGetMaxVcpus       Procedure = 5
	NodeGetInfo              Procedure = 6
	ConnectGetCapabilities   Procedure = 7
	ConnectGetHostname       Procedure = 59
	ConnectSupportsFeature   Procedure = 60
	AuthList                 Procedure = 66
	ConnectGetURI            Procedure = 110
	NodeGetSecurityModel     Procedure = 122
	ConnectIsSecure          Procedure = 149
	ConnectGetLibVersion     Procedure = 157
	ConnectRegisterClose     Procedure = 360
	ConnectUnregisterClose   Procedure = 361
	ConnectListDefined       Procedure = 21
	ConnectNumOfDefined      Procedure = 25
	ConnectListDomains       Procedure = 37
	ConnectNumOfDomains      Procedure = 51
	ConnectListAllDomains    Procedure = 273
	ConnectCallbackRegister  Procedure = 316
	ConnectCallbackDereg     Procedure = 317
	DomainRestore            Procedure = 54
	DomainRestoreFlags       Procedure = 233
	DomainCreateXML          Procedure = 10
	DomainDefineXML          Procedure = 11
	DomainDefineXMLFlags     Procedure = 350
	DomainLookupByID         Procedure = 22
	DomainLookupByName       Procedure = 23
	DomainLookupByUUID       Procedure = 24
	DomainSnapshotLookupName Procedure = 189
)

// The procedures about one domain.
const (
	DomainAttachDevice       Procedure = 8
	DomainCreate             Procedure = 9
	DomainDestroy            Procedure = 12
	DomainDetachDevice       Procedure = 13
	DomainGetXMLDesc         Procedure = 14
	DomainGetAutostart       Procedure = 15
	DomainGetInfo            Procedure = 16
	DomainGetMaxMemory       Procedure = 17
	DomainGetMaxVcpus        Procedure = 18
	DomainGetOSType          Procedure = 19
	DomainReboot             Procedure = 27
	DomainResume             Procedure = 28
	DomainSetAutostart       Procedure = 29
	DomainShutdown           Procedure = 33
	DomainSuspend            Procedure = 34
	DomainUndefine           Procedure = 35
	DomainSave               Procedure = 55
	DomainGetSecurityLabel   Procedure = 121
	DomainIsActive           Procedure = 150
	DomainIsPersistent       Procedure = 151
	DomainAttachDeviceFlags  Procedure = 160
	DomainDetachDeviceFlags  Procedure = 161
	DomainGetJobInfo         Procedure = 163
	DomainAbortJob           Procedure = 164
	DomainManagedSave        Procedure = 182
	DomainHasManagedSave     Procedure = 183
	DomainManagedSaveRemove  Procedure = 184
	DomainSnapshotCreateXML  Procedure = 185
	DomainSnapshotGetXMLDesc Procedure = 186
	DomainSnapshotNum        Procedure = 187
	DomainSnapshotListNames  Procedure = 188
	DomainHasCurrentSnapshot Procedure = 190
	DomainSnapshotCurrent    Procedure = 191
	DomainRevertToSnapshot   Procedure = 192
	DomainSnapshotDelete     Procedure = 193
	DomainCreateWithFlags    Procedure = 196
	DomainGetVcpusFlags      Procedure = 200
	DomainIsUpdated          Procedure = 202
	DomainGetState           Procedure = 212
	DomainGetControlInfo     Procedure = 229
	DomainUndefineFlags      Procedure = 231
	DomainSaveFlags          Procedure = 232
	DomainDestroyFlags       Procedure = 234
	DomainSnapshotGetParent  Procedure = 244
	DomainReset              Procedure = 245
	DomainSnapshotNumKids    Procedure = 246
	DomainSnapshotKidNames   Procedure = 247
	DomainShutdownFlags      Procedure = 258
	DomainSetMetadata        Procedure = 264
	DomainGetMetadata        Procedure = 265
	DomainSnapshotIsCurrent  Procedure = 271
	DomainSnapshotHasMeta    Procedure = 272
	DomainListAllSnapshots   Procedure = 274
	DomainSnapshotListKids   Procedure = 275
	DomainSecurityLabelList  Procedure = 278
	DomainGetJobStats        Procedure = 298
	DomainRename             Procedure = 358
	DomainDetachDeviceAlias  Procedure = 392
	DomainGetMessages        Procedure = 426
	DomainAbortJobFlags      Procedure = 442
)

// What is sent of itself. Each has an older form without the number of the callback,
// which clients since libvirt 1.3.3 use no more.
const (
	CallbackLifecycle          Procedure = 318
	CallbackDeviceRemoved      Procedure = 333
	CallbackDeviceAdded        Procedure = 354
	CallbackJobCompleted       Procedure = 363
	CallbackDeviceRemoveFailed Procedure = 367
)
